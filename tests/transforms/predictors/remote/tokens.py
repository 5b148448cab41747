"""Credentials of the tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from transforms.predictors.remote.redaction import Redaction


@dataclass
class Tokens:
    """Credentials that are renewed as long as there are newer ones.

    Attributes:
        tokens: The one that is sent, and those that come after it.
    """

    tokens: list[str] = field(default_factory=list)

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.tokens[0]}"} if self.tokens else {}

    def renew(self) -> bool:
        if len(self.tokens) < 2:
            return False
        self.tokens.pop(0)
        return True

    def redact(self, text: str) -> str:
        return Redaction(self.headers().values())(text)
