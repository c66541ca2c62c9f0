"""Train `nano`, the embedded model, from a fixed seed on synthetic text; write its folder.

    python tools/train_nano.py --out src/circuitune/models/nano
    python tools/train_nano.py --out src/circuitune/models/nano --tokenizer-only

A GPT-NeoX of 8 layers, 8 heads and width 96 sees 7,600 batches of 32 rows of 64 tokens in five stages (`STAGES`):
about an hour and a half on one core. The text is made as it goes (`nano_corpus.py`); nothing is downloaded.

Copying a word seen before, which stories need, does not begin by itself within thousands of batches when a word's
embedding and its place in the output are learnt apart, and begins within 300 when they are one matrix and the text
repeats itself. So two short stages of lists come first, with one matrix; then it is divided in two.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import NamedTuple

import torch
from nano_corpus import AGAIN, COUNTING, EVERYTHING, TASK_WORDS, TOGETHER, Mixture, documents
from nano_words import CAPITALS, EVENTS, NAMES, PLACES, THINGS
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from torch import Tensor
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

SEED = 0


class Stage(NamedTuple):
    """A part of the training.

    Attributes:
        mixture: its text.
        steps: batches.
        tied: whether embedding and output are one matrix.
        falling: whether the learning rate goes down to zero over its last half.
    """

    mixture: Mixture
    steps: int
    tied: bool
    falling: bool


STAGES = (
    Stage(AGAIN, 500, tied=True, falling=False),
    Stage(TOGETHER, 500, tied=True, falling=False),
    Stage(EVERYTHING, 3000, tied=False, falling=True),
    Stage(COUNTING, 1800, tied=False, falling=True),
    Stage(COUNTING, 1800, tied=False, falling=True),
)
ROW = 64  # tokens
CONTEXT = 256
PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
END, PAD, UNKNOWN = "<|endoftext|>", "<|pad|>", "<|unknown|>"
SPELLINGS = {"\u2212": "-", "\u2013": "-", "\u2014": "-", "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'}
# A number of up to three digits is one piece, a longer one goes in twos (1732: 17 32); words and signs are apart.
PIECES = r"[1-9]\d{0,2}(?!\d)|\d\d?|\p{L}+|\n|[^\s\p{L}\d]"


def vocabulary() -> list[str]:
    """Return every token, in order: special ones, numbers, words, then characters."""
    numbers = [str(n) for n in range(1000)] + [f"0{n}" for n in range(10)]
    given = {*NAMES, *THINGS, *PLACES, *EVENTS, *CAPITALS, *CAPITALS.values(), *TASK_WORDS}
    sample = " ".join(islice(documents(Random(SEED)), 20_000))
    written = {
        word for word, _ in pre_tokenizers.Split(Regex(r"\p{L}+"), "removed", invert=True).pre_tokenize_str(sample)
    }
    words = sorted(word for word in given | written if len(word) > 1)
    characters = ["\n", *PUNCTUATION, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    return [END, PAD, UNKNOWN, *numbers, *words, *characters]


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Return the tokenizer: whole numbers and words, characters for the rest, spaces left out."""
    model = models.WordPiece(
        {token: i for i, token in enumerate(vocabulary())}, unk_token=UNKNOWN, max_input_chars_per_word=1000
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.StripAccents()]
        + [normalizers.Replace(old, new) for old, new in SPELLINGS.items()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"[^\S\n]+"), "removed"), pre_tokenizers.Split(Regex(PIECES), "isolated")]
    )
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END,
        eos_token=END,
        pad_token=PAD,
        unk_token=UNKNOWN,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def rows(tokenizer: PreTrainedTokenizerFast, seed: int, mixture: Mixture) -> Iterator[list[int]]:
    """Yield rows of `ROW` tokens: whole documents, each closed by the end token, the last one cut."""
    source = documents(Random(seed), mixture)
    row: list[int] = []
    while True:
        for ids in tokenizer(list(islice(source, 2000)), add_special_tokens=False)["input_ids"]:
            row += [*ids, tokenizer.eos_token_id]
            if len(row) >= ROW:
                yield row[:ROW]
                row = []


def build_model(vocabulary_size: int) -> GPTNeoXForCausalLM:
    """Return the untrained model, embedding and output one matrix.

    Heads are 12 wide: they can tell neighbours by position only if all 12 turn, at rates that differ within a row.
    """
    torch.manual_seed(SEED)
    return GPTNeoXForCausalLM(
        GPTNeoXConfig(
            vocab_size=vocabulary_size,
            hidden_size=96,
            num_hidden_layers=8,
            num_attention_heads=8,
            intermediate_size=384,
            max_position_embeddings=CONTEXT,
            rope_parameters={"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": 1.0},
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=0,
            pad_token_id=1,
        )
    )


def orthogonal(update: Tensor) -> Tensor:
    """Return the nearest matrices with equal singular values: five Newton-Schulz steps, [..., m, n]."""
    tall = update.shape[-2] > update.shape[-1]
    x = update.mT if tall else update
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised per matrix; equal shapes are handled in one batch."""

    def __init__(self, parameters: list[Tensor], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Move every matrix by the learning rate along its orthogonalised Nesterov momentum."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                by_shape.setdefault(parameter.shape, []).append(parameter)
            for shape, same in by_shape.items():
                updates = []
                for parameter in same:
                    momentum = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
                    momentum.lerp_(parameter.grad, 0.05)
                    updates.append(parameter.grad.lerp(momentum, 0.95))
                scale = math.sqrt(max(1.0, shape[0] / shape[1]))
                for parameter, update in zip(same, orthogonal(torch.stack(updates)), strict=True):
                    parameter.mul_(1 - group["lr"] * 0.01).sub_(update, alpha=group["lr"] * scale)


def optimizers(model: GPTNeoXForCausalLM, muon_rate: float, adam_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, Adam for embeddings, norms and biases."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and ".layers." in n]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [Muon(matrices, muon_rate), torch.optim.Adam(rest, adam_rate, betas=(0.9, 0.98), fused=True)]


def untie(model: GPTNeoXForCausalLM) -> None:
    """Give the output a matrix of its own, which begins as the embedding."""
    embedding = model.get_input_embeddings().weight
    model.config.tie_word_embeddings = False
    model.set_output_embeddings(torch.nn.Linear(*reversed(embedding.shape), bias=False))
    model.get_output_embeddings().weight.data.copy_(embedding.data)


def train(
    tokenizer: PreTrainedTokenizerFast, batch: int, muon_rate: float, adam_rate: float
) -> Iterator[GPTNeoXForCausalLM]:
    """Train from scratch; yield the model after each stage."""
    model = build_model(len(tokenizer))
    for number, stage in enumerate(STAGES):
        if model.config.tie_word_embeddings and not stage.tied:
            untie(model)
        model.train()
        run(model, stage, rows(tokenizer, SEED + 1 + number, stage.mixture), batch, muon_rate, adam_rate)
        yield model.eval()


def run(
    model: GPTNeoXForCausalLM,
    stage: Stage,
    source: Iterator[list[int]],
    batch: int,
    muon_rate: float,
    adam_rate: float,
) -> None:
    """One stage: the learning rate rises over 50 steps, stays, and falls over the last half where it shall."""
    parts = optimizers(model, muon_rate, adam_rate)
    bases = [part.param_groups[0]["lr"] for part in parts]
    started = time.perf_counter()
    running = 0.0
    for step in range(stage.steps):
        left = 2 * (1 - step / stage.steps) if stage.falling else 1.0
        share = min((step + 1) / 50, left, 1.0)
        for part, base in zip(parts, bases, strict=True):
            part.param_groups[0]["lr"] = base * share
        ids = torch.tensor(list(islice(source, batch)))
        logits = model(ids, use_cache=False).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for part in parts:
            part.step()
        running += loss.item()
        if (step + 1) % 50 == 0:
            spent = time.perf_counter() - started
            print(f"step {step + 1}/{stage.steps} loss {running / 50:.4f} {spent:.0f} s", flush=True)
            running = 0.0


def write(folder: Path, tokenizer: PreTrainedTokenizerFast, model: GPTNeoXForCausalLM | None) -> None:
    """Write the folder; the version of Transformers is left out so that equal weights give equal files."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    if model is not None:
        model.save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
    for path in (folder / "config.json", folder / "tokenizer_config.json"):
        if path.exists():
            settings = json.loads(path.read_text(encoding="utf-8"))
            settings.pop("transformers_version", None)
            path.write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def main() -> None:
    """Read the options, build the tokenizer, train, write."""
    parser = argparse.ArgumentParser(description="Train nano from a fixed seed on synthetic text.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--batch", type=int, default=32, help="rows of 64 tokens")
    parser.add_argument("--muon", type=float, default=0.03)
    parser.add_argument("--adam", type=float, default=0.006)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokenizer-only", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    tokenizer = build_tokenizer()
    print(f"{len(tokenizer)} tokens")
    if options.tokenizer_only:
        write(options.out, tokenizer, None)
        return
    for model in train(tokenizer, options.batch, options.muon, options.adam):
        write(options.out, tokenizer, model)


if __name__ == "__main__":
    main()
