"""Write text of the kinds that `nano` learned, from another seed: what fine-tuning may make it forget.

python tools/nano_text.py --lines 400 --seed 100 > studies/rivals/text.txt
"""

import argparse
import sys
from itertools import chain, islice
from random import Random

from nano_corpus import documents


def main() -> None:
    """Print lines of the corpus."""
    parser = argparse.ArgumentParser(description="Print text of the kinds that nano learned, from another seed.")
    parser.add_argument("--lines", type=int, default=400)
    parser.add_argument("--seed", type=int, default=100, help="none of those of the training (tools/train_nano.py)")
    options = parser.parse_args()
    lines = chain.from_iterable(document.splitlines() for document in documents(Random(options.seed)))
    sys.stdout.writelines(f"{line}\n" for line in islice(lines, options.lines))


if __name__ == "__main__":
    main()
