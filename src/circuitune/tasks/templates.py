"""What a known wording tells about a prompt."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """A prompt of a task we know: its bare answer (no leading space) and the group it belongs to."""

    task: str
    answer: str
    group: str
