"""A study of seconds: the tiny model, two tasks, two seeds."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

TRAINING: dict[str, Any] = {"epochs": 1, "learning_rate": 0.05, "batch_size": 40, "warmup_steps": 0, "checkpoints": 2}
ROWS = {"rows": 120, "test_rows": 40}
DISCOVERY = {"pairs": 6, "evaluation_pairs": 6, "steps": 2, "share": 0.2, "metric": "logit_diff"}
SEEDS = [0, 1]
DATA: dict[str, Any] = {
    "add_sub": {"task": "add_sub", "parameters": {"limit": 20, "style": "short"}},
    "sequence": {"task": "sequence", "parameters": {"size": 400, "style": "short"}},
}


def hypothesis(measure: str, **fields: object) -> dict[str, Any]:
    words = dict.fromkeys(("hypothesis", "effect", "against"), f"About {measure}.")
    return {"claim": 1, "role": "primary", "measure": measure, "smallest": 0.1, **words, **fields}


def registration(model: Path) -> dict[str, Any]:
    return deepcopy(
        {
            "study": "tiny",
            "question": "Does it change?",
            "model": str(model),
            "tuning": {"rank": 2, "seeds": [*SEEDS, 2]},
            "discovery": DISCOVERY,
            "tasks": {name: {"data": data, "training": {**TRAINING, **ROWS}} for name, data in DATA.items()},
            "hypotheses": {
                "faithful": hypothesis("faithfulness", bar=0.8),
                "ratio": hypothesis("ratio", claim=2),
                "edges": hypothesis("edge_rate", claim=2, role="exploratory"),
                "slowing": hypothesis("slowing", claim=3),
            },
            "rule": {"level": 0.95, "alpha": 0.05, "seeds": 8, "tasks": 2, "resamples": 1000},
            "notes": ["A note."],
        }
    )


def study(model: Path) -> dict[str, Any]:
    return deepcopy(
        {
            "extends": "default",
            "name": "tiny",
            "registration": "registered/registration.yaml",
            "model": str(model),
            "contest": None,
            "training": {**TRAINING, **ROWS},
            "tuning": {"rank": 2, "seeds": SEEDS},
            "discovery": DISCOVERY,
            "analysis": {"random_models": 2, "rewirings": 10, "draws": 2, "halvings": 3},
            "runs": [{"name": name, "data": data} for name, data in DATA.items()],
        }
    )


def write(folder: Path, study: dict[str, Any], registration: dict[str, Any]) -> Path:
    """Both files; the study's path."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(study))
    (folder / "registered").mkdir(exist_ok=True)
    (folder / "registered" / "registration.yaml").write_text(yaml.safe_dump(registration))
    return path
