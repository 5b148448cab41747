"""Access tokens and ID tokens of Google's, by Application Default Credentials."""

from __future__ import annotations

import functools
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timezone
from typing import Any

from transforms.predictors.remote.redaction import Redaction, redacted
from transforms.predictors.remote.wire import Action, CallFailed
from transforms.records import printable

_LOGGER = logging.getLogger(__name__)

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_REQUEST_SECONDS = 10.0
_PATIENCE_SECONDS = 10.0
_MARGIN_SECONDS = 225.0
"""How long before it expires a token is renewed, as in google-auth: metadata servers keep one till then."""
_MAX_WORDS = 300
_SECRET = {"authorization"}  # of the headers; another tells which project pays
_REMEMBERED = 4  # how many tokens: answers may come late, or be kept by a cache

_LOGIN = "gcloud auth application-default login"
_KEY_FILE = "set GOOGLE_APPLICATION_CREDENTIALS to the name of a key file"
_ACCESS_REMEDY = f"run `{_LOGIN}`, {_KEY_FILE}, or choose another --endpoint_auth"
_ID_REMEDY = (
    f"ID tokens are for service accounts: run `{_LOGIN} --impersonate-service-account=ACCOUNT`, "
    f"{_KEY_FILE} of one, or run where one is attached to the machine"
)


class GoogleTokens:
    """Keeps a token until shortly before it expires; used by any number of threads, one of which renews it.

    While a new one is fetched, the others use the old one, if it is still good; else they wait, and share
    what comes of it.

    Args:
        find: Finds google-auth's credentials; gets what sends their requests.
        remedy: What to do where there are none.
        clock: Tells the time, in seconds since 1970.
    """

    def __init__(self, find: Callable[[Any], Any], remedy: str, clock: Callable[[], float]) -> None:
        self._find = find
        self._remedy = remedy
        self._clock = clock
        self._credentials: Any = None
        self._request: Any = None
        self._held: _Held | None = None
        self._sent: tuple[str, ...] = ()
        self._redaction = Redaction(())
        self._failures = 0
        self._last_failure: Exception | None = None
        self._renewing = threading.Lock()
        self._thread = threading.local()

    def headers(self) -> Mapping[str, str]:
        """See `Credentials.headers`."""
        held, now = self._held, self._clock()
        if held is None or now >= held.expires_at:
            held = self._wait_for_another(held)
        elif now >= held.renew_at:
            held = self._try_for_another(held)
        self._thread.held = held
        return held.headers

    def renew(self) -> bool:
        """See `Credentials.renew`; a token that others have renewed since this thread got it is kept."""
        refused, held = getattr(self._thread, "held", None), self._held
        if refused is None or not refused.headers:
            return False
        if held and held.headers is refused.headers:
            self._held = None
        return True

    def redact(self, text: str) -> str:
        """See `Credentials.redact`."""
        return self._redaction(text)

    def _wait_for_another(self, old: _Held | None) -> _Held:
        failures = self._failures
        with self._renewing:
            if self._held and self._held is not old:
                return self._held
            if self._last_failure and self._failures > failures:
                raise self._failed(self._last_failure)
            return self._fetched()

    def _try_for_another(self, old: _Held) -> _Held:
        if not self._renewing.acquire(blocking=False):
            return old
        try:
            return self._fetched() if self._held is old else self._held or old
        except CallFailed as failed:
            _LOGGER.warning("the token is good for some minutes yet, but cannot be renewed: %s", failed)
            self._held = replace(old, renew_at=self._clock() + _PATIENCE_SECONDS)
            return old
        finally:
            self._renewing.release()

    def _fetched(self) -> _Held:
        try:
            self._refresh()
        except Exception as error:
            self._failures += 1
            self._last_failure = error
            raise self._failed(error) from None  # what it holds else may be secret
        self._held = _held(self._credentials, self._clock())
        sent = (self._held.headers[name] for name in _SECRET & self._held.headers.keys())
        self._sent = (*self._sent, *sent)[-_REMEMBERED:]
        self._redaction = Redaction(self._sent)
        return self._held

    def _failed(self, error: Exception) -> CallFailed:
        """Make the failure of a token that cannot be had, without what was sent for it."""
        known = [getattr(self._credentials, name, None) for name in ("refresh_token", "client_secret")]
        secrets = (*self._sent, *(secret for secret in known if isinstance(secret, str)))
        return redacted(_failure(error, self._remedy), Redaction(secrets))

    def _refresh(self) -> None:
        if self._credentials is None:
            self._request = _BoundedRequest()
            self._credentials = self._find(self._request)
            if self._credentials.valid:  # such as those of nobody, for emulators
                return
        _refresh(self._credentials, self._request)


@dataclass(frozen=True, repr=False)
class _Held:
    headers: Mapping[str, str]
    renew_at: float
    expires_at: float


def access_tokens(clock: Callable[[], float] = time.time) -> GoogleTokens:
    """Return tokens for Google's own services."""
    return GoogleTokens(_default_credentials, _ACCESS_REMEDY, clock)


def id_tokens(audience: str, clock: Callable[[], float] = time.time) -> GoogleTokens:
    """Return tokens that tell a service of one's own who calls it."""
    return GoogleTokens(functools.partial(_id_token_credentials, audience), _ID_REMEDY, clock)


def _default_credentials(request: Any) -> Any:
    import google.auth

    return google.auth.default(scopes=_SCOPES, request=request)[0]


def _id_token_credentials(audience: str, request: Any) -> Any:
    """Find credentials that make ID tokens, also where google-auth's `fetch_id_token_credentials` does not.

    It knows nothing of what gcloud has stored, and takes a metadata server that is down for none.
    """
    from google.auth import compute_engine, impersonated_credentials
    from google.auth.exceptions import DefaultCredentialsError
    from google.oauth2.id_token import fetch_id_token_credentials

    found = _default_credentials(request)
    if isinstance(found, impersonated_credentials.Credentials):
        return impersonated_credentials.IDTokenCredentials(
            found, target_audience=audience, include_email=True
        )
    if isinstance(found, compute_engine.Credentials):
        return compute_engine.IDTokenCredentials(request, audience, use_metadata_identity_endpoint=True)
    try:
        return fetch_id_token_credentials(audience, request)
    except DefaultCredentialsError as error:
        kind = f"{type(found).__module__}.{type(found).__name__}"
        raise DefaultCredentialsError(f"what was found ({kind}) cannot make ID tokens") from error


def _refresh(credentials: Any, request: Any) -> None:
    from google.auth.exceptions import RefreshError

    try:
        credentials.refresh(request)
    except (KeyError, TypeError, ValueError):
        raise RefreshError("what came in the place of a token is none") from None


class _BoundedRequest:
    """Sends google-auth's requests as it does itself, with the environment's proxies, but for less long."""

    def __init__(self) -> None:
        from google.auth.transport.requests import Request

        self._request = Request()
        self.session = self._request.session  # where google-auth puts the machine's certificates

    def __call__(self, *args: Any, **more: Any) -> Any:
        return self._request(*args, **{"timeout": _REQUEST_SECONDS, **more})


def _held(credentials: Any, now: float) -> _Held:
    headers: dict[str, str] = {}
    credentials.apply(headers)
    if credentials.expiry is None:
        return _Held(headers, math.inf, math.inf)
    expires_at = credentials.expiry.replace(tzinfo=timezone.utc).timestamp()
    margin = min(_MARGIN_SECONDS, (expires_at - now) / 4)
    return _Held(headers, expires_at - margin, expires_at)


def _failure(error: Exception, remedy: str) -> CallFailed:
    words = printable(" ".join(str(error.args[0] if error.args else type(error).__name__).split()))[
        :_MAX_WORDS
    ]
    if is_passing(error):
        message, action = f"who gives the tokens does not answer: {words}", Action.RETRY
    else:
        message, action = f"there is no token to send: {words} ({remedy})", Action.GIVE_UP
    return CallFailed(message, action=action, status="credentials")


def is_passing(error: BaseException) -> bool:
    """Tell whether a token may be had later: nobody has answered, or only that it cannot be done now."""
    from google.auth.exceptions import GoogleAuthError, RefreshError, TransportError
    from requests.exceptions import RequestException

    cause = error.__cause__ if isinstance(error, RefreshError) else error
    if isinstance(cause, TransportError):
        return len(cause.args) == 1  # else the second is the answer
    return error.retryable if isinstance(error, GoogleAuthError) else isinstance(error, RequestException)
