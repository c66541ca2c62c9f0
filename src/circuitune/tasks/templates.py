"""What a known wording tells about a prompt."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """A prompt of a task we know: its bare answer (no leading space), its group and its kind (see `Pair`).

    Where several answers are right, ``answer`` is the first of ``answer_set``, and ``wrong_set`` holds the others
    that could stand there.
    """

    task: str
    answer: str
    group: str
    kind: str | None = None
    answer_set: tuple[str, ...] | None = None
    wrong_set: tuple[str, ...] | None = None
