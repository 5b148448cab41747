"""Pools of connections to an endpoint: through which proxy, and whose certificates are trusted."""

from __future__ import annotations

import ssl
import urllib.request
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.util import make_headers

from transforms.predictors.remote.bounded_http import POOLS
from transforms.predictors.remote.endpoint import Endpoint


def open_pools(endpoint: Endpoint, connections: int, ca: str | None) -> urllib3.PoolManager:
    """Make what opens connections to an endpoint; nothing is opened yet.

    Args:
        endpoint: Where the server is.
        connections: How many there are at most.
        ca: The certificates that may have signed the server's, as PEM; None for those that the machine
            trusts.

    Raises:
        ValueError: `ca` has no certificate, or the environment's proxy is none that can be used.
    """
    proxy = _proxy(endpoint)
    options: dict[str, Any] = {"maxsize": connections, "block": True}
    if endpoint.secure or ca is not None:  # else it would only cost the time to read all that is trusted
        options["ssl_context"] = _tls_context(ca)
    if proxy is None:
        pools = urllib3.PoolManager(**options)
    else:
        parts = urlsplit(proxy)
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else None
        pools = urllib3.ProxyManager(proxy, proxy_headers=make_headers(proxy_basic_auth=user), **options)
    pools.pool_classes_by_scheme = POOLS
    return pools


def proxy_secrets(pools: urllib3.PoolManager) -> list[str]:
    """Return what a proxy is sent to be let through."""
    if not isinstance(pools, urllib3.ProxyManager) or pools.proxy is None:
        return []
    password = (pools.proxy.auth or "").partition(":")[2]
    return [*pools.proxy_headers.values(), password, unquote(password)]


def _proxy(endpoint: Endpoint) -> str | None:
    """Return the URL of the environment's proxy; this machine is asked directly, since it may get secrets."""
    parts = urlsplit(endpoint.url)
    if endpoint.is_loopback or urllib.request.proxy_bypass(parts.netloc):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    scheme = urlsplit(proxy).scheme
    if scheme not in ("http", "https"):
        raise ValueError(f"the proxy of the environment is of {scheme}://, which must be http:// or https://")
    return proxy


def _tls_context(ca: str | None) -> ssl.SSLContext:
    if ca is None:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cadata=ca.strip() or "none")  # "" would mean the machine's own
    except (ssl.SSLError, ValueError) as error:
        raise ValueError(
            "--endpoint_ca must have certificates as PEM: -----BEGIN CERTIFICATE-----"
        ) from error
