"""The commands of gcloud that this project tells people to run, and the real gcloud that judges them."""

from __future__ import annotations

import ast
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from emulators.processes import MissingProgram

EXAMPLES = {"PROJECT": "my-project", "REGION": "us-central1", "WORKERS": "5"}
"""What stands for variables that must be of some form; any word does for others."""

_FENCE = re.compile(r"^```(?:sh|bash)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)`(gcloud [^`]+)`(?!`)")
_VARIABLE = re.compile(r"\$\{?(\w+)[^}\s\"']*\}|\$(\w+)")


def gcloud() -> str:
    """Return where gcloud is.

    Raises:
        MissingProgram: It is not installed.
    """
    found = shutil.which("gcloud")
    if found is None:
        raise MissingProgram("needs gcloud: https://cloud.google.com/sdk/docs/install")
    return found


def offline(folder: Path) -> dict[str, str]:
    """Return an environment in which gcloud knows no account and no settings, and asks nobody for updates."""
    return {
        "CLOUDSDK_AUTH_ACCESS_TOKEN": "a-token",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
        "CLOUDSDK_CONFIG": str(folder / "gcloud"),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
    }


def commands_in_page(text: str) -> Iterator[str]:
    """Yield the commands of a page in Markdown: those of its blocks, and those in its sentences."""
    for block in _FENCE.findall(text):
        yield from _commands_in_shell(block)
    for span in _SPAN.findall(re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)):
        yield " ".join(span.split())


def commands_in_comments(text: str) -> Iterator[str]:
    """Yield the commands in a file's comments, as they stand at the head of what is built with them."""
    comments = "\n".join(re.findall(r"^# ?(.*)$", text, re.MULTILINE))
    yield from _commands_in_shell(comments)


def commands_in_messages(source: str) -> Iterator[str]:
    """Yield the commands in the strings of a Python module, but for those of its docstrings."""
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        text = _text(node) if id(node) not in docstrings else ""
        yield from [text] if re.match(r"gcloud [a-z].* --", text) else _SPAN.findall(text)


def _text(node: ast.AST) -> str:
    """Return a string of a module, with examples for what is put into it."""
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_text, node.values))
    if isinstance(node, ast.FormattedValue):
        return "example"
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _commands_in_shell(code: str) -> Iterator[str]:
    for line in code.replace("\\\n", " ").splitlines():
        for start in re.finditer(r"(?:^|\$\(|: |\s{2,})(?=gcloud [a-z])", line):
            command = line[start.end() :]
            yield command.rpartition(")")[0] if start.group().endswith("$(") else command


def with_examples(command: str) -> list[str]:
    """Put examples in the place of variables, and return the words."""
    text = _VARIABLE.sub(lambda match: EXAMPLES.get(match[1] or match[2], "example"), command)
    return shlex.split(text, comments=True)


@cache
def _completions() -> Mapping[str, Any]:
    path = Path(gcloud()).resolve().parents[1] / "data/cli/gcloud_completions.py"
    tree: Mapping[str, Any] = runpy.run_path(str(path))["STATIC_COMPLETION_CLI_TREE"]
    return tree


def _in_order(words: Sequence[str]) -> str:
    """Write a command as the linter reads it: flags last, each in one word with its value."""
    known = _completions()
    kinds = dict(known["flags"])
    for word in words[1:]:
        known = known["commands"].get(word, known)
        kinds |= known["flags"]
    positional, flags = [], []
    left = list(words)
    while left:
        word = left.pop(0)
        if not word.startswith("--"):
            positional.append(word)
        elif "=" in word or kinds.get(word, "bool") == "bool" or not left:
            flags.append(word)
        else:
            flags.append(f"{word}={left.pop(0)}")
    return shlex.join([*positional, *flags])


def complaints(commands: Sequence[str]) -> dict[str, str]:
    """Let gcloud parse commands, all in one start, and return what it says of those that it does not take."""
    asked = {_in_order(with_examples(command)): command for command in commands}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "commands.json"
        file.write_text(json.dumps([{"command_string": command} for command in asked]))
        done = subprocess.run(
            [gcloud(), "meta", "lint-gcloud-commands", f"--commands-file={file}"],
            env={**os.environ, **offline(folder)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.stdout, done.stderr
    answers = json.loads(done.stdout)
    assert len(answers) == len(asked)
    return {
        command: answer["error_message"]
        for command, answer in zip(asked.values(), answers, strict=True)
        if not answer["success"] and not _only_named(command, answer)
    }


def _only_named(command: str, answer: Mapping[str, Any]) -> bool:
    """Tell a command that a sentence speaks of, without saying what it is run with."""
    return "--" not in command and "must be specified" in answer["error_message"].lower()
