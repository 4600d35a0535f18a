"""What stands at the end of a command's own page: an example, and what logs may be. Loaded only for such a page."""

from __future__ import annotations

LOGS = (
    "Logs: JSON lines, JSON lists (Keras), CSV (Lightning, Keras, wandb, any other), Hugging Face's "
    "trainer_state.json, TensorBoard event files, MLflow and Trackio (databases and files), printed text of most "
    "trainers, folders of these, and each packed with gzip. The format is found by what stands in the file."
)
EXAMPLES = {
    "check": "plateau check sizes.toml --log run.jsonl",
    "explain": "plateau explain off-ladder",
    "fmt": "plateau fmt --check sizes.toml",
    "diff": "plateau diff sizes.toml edited.toml --log train.log",
    "import": "plateau import pretrain.sh -o pretrain.toml",
    "draw": "plateau draw sizes.toml -o sizes.svg",
    "schema": "plateau schema > curriculum.schema.json",
    "replay": "plateau replay sizes.toml train.log --plot replay.png",
    "noise": "plateau noise train.log --curriculum sizes.toml",
    "plot": "plateau plot run-1 run-2/train.log -o both.png",
    "page": "plateau page runs/sizes",
    "report": "plateau report runs/sizes -o sizes.html",
    "simulate": "plateau simulate sizes.toml plateau-trend --learners 1000",
    "tune": "plateau tune sizes.toml --log train.log --over window=50..800 threshold=0.002..0.02",
    "fit": "plateau fit train.log --out learner.json",
    "test": "plateau test tests/",
    "lsp": "plateau lsp",
    "train": "plateau train sizes.toml --data corpus.txt --out runs/sizes",
    "branch": "plateau branch runs/sizes edited.toml --out runs/edited",
    "probe": "plateau probe sizes.toml --trainer mine.py:train --budget '90 s' -o probe.png",
    "compare": "plateau compare sizes.toml full.toml --trainer mine.py:train --budget '90 s' --seeds 5",
    "runs": "plateau runs runs/",
    "generate": "plateau generate runs/sizes --prompt 'To be' --bytes 1000",
    "evaluate": "plateau evaluate runs/sizes --data other.txt",
    "export": "plateau export runs/sizes -o sizes-model",
}
READ_LOGS = ("check", "diff", "replay", "noise", "plot", "page", "report", "tune", "fit", "test")


def epilogue(name: str) -> str:
    """What stands at the end of a command's page."""
    return f"Example: {EXAMPLES[name]}" + (f"\n\n{LOGS}" if name in READ_LOGS else "")
