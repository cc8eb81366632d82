"""The package speaks of tasks and their arguments. A shell has commands and options: the same, in its words."""

from __future__ import annotations

import re
from functools import cache

_PHRASES = (
    (r"`airflow-batch wait` lands it, or a task that fetches after a failure", "`airflow-batch wait` lands it"),
    (r"GeminiBatchHook\(\)\.get_conn\(\)\.list_models\(\) gives", "The API's documentation has"),
    (r'set the extra "account" of the connection to (?=\')', "give --account "),
    (r'set the extra "deployment" of one of the connections', "use a connection with another deployment"),
    (r"give the connection's extra prices a file with the model", "give --prices a file with the model"),
    (r", for each run and map index another", ""),
    (r"a new DAG run takes the new ones", "another --result-path takes the new ones"),
    (r"give each task instance a result_path", "give each batch a --result-path"),
    (r"another task instance", "another batch"),
    (r"the task was cleared after its deadline", "the command was run again after the deadline"),
    (r"when the task was first tried", "when the batch was first submitted"),
    (r"run the task (again|with|on)", r"run the command \1"),
    (r"split the input into several files, one task each", "split the input into several files, one batch each"),
    (r"clear the task to wait", "run airflow-batch wait to wait"),
    (r"clear the task", "run airflow-batch submit again"),
    (r"a new try of (this|the submitting) task sends", "running airflow-batch submit again sends"),
    (r"another try of this task", "another run of this command"),
    (r"(another|this|a) try\b", r"\1 run"),
    (r"its next try", "the next run"),
    (r"in every try", "in every run"),
    (r"look for the task's jobs", "look for the batch's jobs"),
    (r"the task's (arguments|timeout)", r"the command's options"),
    (r"correct the connection and", "correct the key or the connection, and"),
    (r"the (jobs|rows) of this task", r"the \1 of this batch"),
    (r"(for|the|this) task(?! of)", r"\1 batch"),
    (r"may not be read by this batch", "may not be read"),
    (r"for this batch batch", "for this batch"),
    (r"check what the upstream task returned", "check the file"),
    (r"GeminiBatchOperator, or submit without --embeddings", "submit without --embeddings"),
    (r'on_bad_row="skip"', "--skip-bad-rows"),
    (r"trial_rows, earlier_results (and|or) ", r"--trial \1 "),
    (r"(?:, |, or |or )?earlier_results and ", ""),
    (r"earlier_results or ", ""),
    (r"until max_row_attempts", "three times at most"),
    (r", set at_timeout", ""),
    (r" Or raise max_failed_fraction\.", ""),
    (r'set tiers=\("standard",\)', "give --tiers standard"),
    (r"(requests|tokens)_per_minute of the connection", r"--\1-per-minute"),
    (r"concurrency of single_calls", "--concurrency"),
    (r"give media_path, the folder", "give --media-path, the folder"),
    (r"more trial rows give", "a greater --trial gives"),
    (r", keep_columns and keep_remote_files stay", " stay"),
    (r"name it in keep_columns to keep it beside the answer, or leave it out", "leave it out"),
    (r'nothing was sent again, as on_ambiguous="fail" asks', "nothing was sent again"),
)
"""What the package says, in lower case, and what a shell says. The first that fits, first."""


_ONE = re.compile(r"(?<![\d,.])1 (row|job|byte|answer|token|document)s\b(?: (are|have)\b)?")


def in_shell_words(text: str) -> str:
    """A message of the package in the words of the command line: ``--max-cost-usd`` for ``max_cost_usd``."""
    for pattern, words in _phrases():
        text = pattern.sub(lambda found, words=words: _as_begun(found, words), text)  # type: ignore[misc]
    return _options().sub(_option, _ONE.sub(_single, text))


def _single(found: re.Match[str]) -> str:
    verb = {"are": " is", "have": " has"}.get(found[2], "")
    return f"1 {found[1]}{verb}"


def _as_begun(found: re.Match[str], words: str) -> str:
    expanded = found.expand(words)
    begins = found[0][:1].isupper() and not expanded.startswith("--")
    return expanded[:1].upper() + expanded[1:] if begins else expanded


def _option(found: re.Match[str]) -> str:
    flag = f"--{found['name'].replace('_', '-')}"
    value = (found["value"] or "").strip("\"'")
    return flag if value in ("", "True") else f"{flag} {value}"


@cache
def _phrases() -> tuple[tuple[re.Pattern[str], str], ...]:
    # Within a sentence and at its beginning.
    return tuple((re.compile(f"(?i:{pattern})"), words) for pattern, words in _PHRASES)


@cache
def _options() -> re.Pattern[str]:
    """The operators' arguments that are options here, unless they are quoted or a part of something longer."""
    from airflow_provider_batch.cli.parsers import COMMANDS

    class Names(set[str]):
        def add_argument(self, *flags: str, **_: object) -> None:
            self.update(flag[2:].replace("-", "_") for flag in flags if flag.startswith("--"))

        def add_argument_group(self, *_: object) -> Names:
            return self

        add_mutually_exclusive_group = add_argument_group

    names = Names()
    for command in COMMANDS:
        if command.has_access:
            command.add_options(names)
    known = "|".join(sorted((name for name in names if "_" in name), key=len, reverse=True))
    return re.compile(
        rf"(?<![\w\"'`./-])(?P<name>{known})(?![\w\"'`/-]|\.\w)(?:=(?P<value>\"[^\"]*\"|'[^']*'|[\w.]+))?"
    )
