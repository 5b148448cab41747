from __future__ import annotations

from collections.abc import Sequence

from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.remote.request_report import RequestReport, RequestTally
from transforms.predictors.remote.served_version import ServedVersion
from transforms.predictors.remote.wire import Action, CallFailed, Metadata

SIGNATURE = Signature(
    "serving_default", (TensorSpec("x", "string", (None,)),), (TensorSpec("y", "int64", (None,)),)
)
OTHER = Signature("serving_default", SIGNATURE.inputs, (TensorSpec("z", "int64", (None,)),))


class Server:
    """Tells versions, one after the other, the last one again and again."""

    def __init__(self, answers: Sequence[Metadata | CallFailed]) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self) -> Metadata:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if isinstance(answer, CallFailed):
            raise answer
        return answer


def of_version(version: str, signature: Signature = SIGNATURE) -> Metadata:
    return Metadata({signature.name: signature}, version)


def test_the_version_at_launch_stays_and_the_server_is_not_asked() -> None:
    server = Server([of_version("8")])
    served = ServedVersion("7", SIGNATURE, server, RequestTally(), clock=lambda: 0.0)
    assert [served.current() for _ in range(3)] == ["7", "7", "7"]
    assert not server.asked


def test_a_version_that_is_gone_is_followed_by_the_one_that_the_server_has() -> None:
    served = ServedVersion("7", SIGNATURE, Server([of_version("8")]), RequestTally())
    assert served.after("7") == "8"
    assert served.current() == "8"


def test_who_comes_late_gets_what_others_have_found_without_asking_again() -> None:
    server = Server([of_version("8")])
    served = ServedVersion("7", SIGNATURE, server, RequestTally())
    served.after("7")
    assert served.after("7") == "8"
    assert server.asked == 1


def test_without_another_version_there_is_none_to_go_on_with() -> None:
    assert ServedVersion("7", SIGNATURE, Server([of_version("7")]), RequestTally()).after("7") is None


def test_a_version_of_another_signature_is_not_taken() -> None:
    served = ServedVersion("7", SIGNATURE, Server([of_version("8", OTHER)]), RequestTally())
    assert served.after("7") is None
    assert served.current() == "7"


def test_a_server_that_does_not_tell_leaves_all_as_it_is() -> None:
    failed = CallFailed("no", action=Action.RETRY, status="503")
    assert ServedVersion("7", SIGNATURE, Server([failed]), RequestTally()).after("7") is None


def test_a_newer_version_is_looked_for_each_time_that_the_interval_is_over() -> None:
    now = [0.0]
    server = Server([of_version("7"), of_version("8"), of_version("9")])
    served = ServedVersion("7", SIGNATURE, server, RequestTally(), poll_seconds=60, clock=lambda: now[0])
    versions = []
    for time in (0.0, 59.0, 60.0, 100.0, 121.0, 150.0, 200.0):
        now[0] = time
        versions.append(served.current())
    assert versions == ["7", "7", "7", "7", "8", "8", "9"]
    assert server.asked == 3


def test_versions_that_take_over_are_counted_and_each_that_cannot_once() -> None:
    now, tally = [0.0], RequestTally()
    server = Server([of_version("8", OTHER), of_version("8", OTHER), of_version("9")])
    served = ServedVersion("7", SIGNATURE, server, tally, poll_seconds=60, clock=lambda: now[0])
    for now[0] in (60.0, 120.0, 180.0):
        served.current()
    assert tally.take() == [RequestReport(version_swaps=1, versions_refused=1)]
