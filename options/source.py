"""What to predict on."""

from __future__ import annotations

from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from options.flags import Bytes, Choice, Flag, FlagGroup, Invalid, PubSubPath, Text, Whole, add_flags
from transforms.read_files import DEFAULT_MAX_FILE_BYTES, DEFAULT_READ_AHEAD_BYTES, DEFAULT_READ_THREADS
from transforms.sources.from_inputs import LIST_MARK
from transforms.sources.from_pubsub import DEFAULT_DEDUPE_SECONDS
from transforms.sources.messages import MESSAGE_FORMATS

SOURCES = ("input", "input_subscription", "input_topic")
MESSAGE_FLAGS = ("message_format", "timestamp_attribute", "id_label", "allowed_prefix")


class SourceOptions(FlagGroup, PipelineOptions):
    """The files, and how they are read."""

    TITLE = "What to predict on"
    FLAGS = (
        Flag(
            "input",
            "Files: a name, a glob in quotes ('images/*.png', 'gs://bucket/**.jpg'; ** crosses slashes), "
            "or a list of names with an @ before it: @names.txt (one a line), @names.csv or @names.jsonl "
            "(with a column uri; the others are carried to the output as attributes).",
            Text("FILES"),
            repeated=True,
        ),
        Flag(
            "watch",
            "Look for new files of --input every so many seconds, until the job is stopped.",
            Whole(),
        ),
        Flag(
            "input_subscription",
            "Predict on what the messages of a Pub/Sub subscription name or contain, until the job is "
            "stopped: notifications of a Cloud Storage bucket, names, JSON with a uri, or the files "
            "themselves.",
            PubSubPath("subscription"),
        ),
        Flag(
            "input_topic",
            "The same with a subscription of the job's own to this topic, which ends with the job.",
            PubSubPath("topic"),
        ),
        Flag(
            "message_format",
            "What the messages are. auto: each tells it itself.",
            Choice(MESSAGE_FORMATS),
            MESSAGE_FORMATS[0],
        ),
        Flag(
            "timestamp_attribute",
            "The attribute of a message that has its time (RFC 3339, or milliseconds since 1970). Not given: "
            "the time at which it was published.",
            Text("NAME"),
        ),
        Flag(
            "id_label",
            "The attribute of a message by which Dataflow knows one that is delivered twice.",
            Text("NAME"),
        ),
        Flag(
            "allowed_prefix",
            "Predict only on files below this, such as gs://bucket/photos, when messages name them. Not "
            "given: on all but local files.",
            Text("PLACE"),
            repeated=True,
        ),
        Flag(
            "dedupe_window",
            "In streaming: predict once on the same content of the same file within so many seconds; 0 for "
            "each time that it is named.",
            Whole(minimum=0),
            int(DEFAULT_DEDUPE_SECONDS),
        ),
        Flag("read_threads", "Files that one worker thread reads at once.", Whole(), DEFAULT_READ_THREADS),
        Flag(
            "read_ahead_bytes",
            "The most bytes that one worker thread holds beyond the batch that is predicted on. With an "
            "endpoint also: the most that the batches under way have, beyond the last one of them; as "
            "requests they take a few times that.",
            Bytes(),
            DEFAULT_READ_AHEAD_BYTES,
        ),
        Flag(
            "max_file_bytes",
            "A larger file is not read, and becomes a dead letter.",
            Bytes(),
            DEFAULT_MAX_FILE_BYTES,
        ),
    )

    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        add_flags(parser, cls.FLAGS)

    def validate(self) -> list[str]:
        """See `FlagGroup.validate`."""
        return [*self._source_problems(), *super().validate()]

    @property
    def is_pubsub(self) -> bool:
        """Whether the files come from messages."""
        return bool(self.input_subscription or self.input_topic)

    @property
    def is_streaming(self) -> bool:
        """Whether the files keep coming until the job is stopped."""
        return self.is_pubsub or self.watch is not None

    def _source_problems(self) -> list[str]:
        given = [f"--{name}" for name in SOURCES if getattr(self, name)]
        problems = []
        if not given:
            problems.append("--input is missing: say what to predict on, e.g. --input 'images/*.png'")
        if len(given) > 1:
            problems.append(f"{' and '.join(given)} are given together; a job has one of them")
        if self.watch is not None:
            problems += self._watch_problems()
        if not self.is_pubsub:
            problems += [
                f"--{name} is for messages; give --input_subscription as well, or leave it out"
                for name in MESSAGE_FLAGS
                if self.changed(name)
            ]
        return problems

    def _watch_problems(self) -> list[str]:
        if self.is_pubsub and not self.input:
            return ["--watch is for --input; a subscription is listened to anyway"]
        return [
            f"--watch: {named} is a list, which is read once; give a glob, or leave out --watch"
            for named in self.input or ()
            if not isinstance(named, Invalid) and named.startswith(LIST_MARK)
        ]
