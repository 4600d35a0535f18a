"""The names of the files in the folder of a run; to know them, nothing else needs to be loaded."""

METRICS, DECISIONS, RECORD, CURRICULUM = "metrics.jsonl", "decisions.jsonl", "run.json", "curriculum.toml"
