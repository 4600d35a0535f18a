"""Small logs in the form that each family of trainers prints, with what a person reads in them.

Every family is a function of the number of losses; what is expected was counted by hand from the form of its lines.
"""

# ruff: noqa: E501  # a line of a log is as long as it is

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


def curve(place: float) -> float:
    """A loss that falls."""
    return 0.5 + 2 * math.exp(-place / 8)


@dataclass(frozen=True)
class Family:
    """What a family prints.

    lines: the log, line by line. points, steps: how many losses of training, the first and last of their steps.
    series: what they are called. evals: how many of each metric of evaluations, by its name. meaning: how the meaning
    begins. per_epoch: steps in an epoch, where they count within it. refusal: what a refusal says, if the log cannot be
    read without --column; then `column` reads it. notes: whether a word is said on the undamaged log.
    """

    lines: tuple[str, ...]
    points: int
    steps: tuple[int, int]
    series: str
    evals: dict[str, int] = field(default_factory=dict)
    meaning: str = "one value, one every"
    per_epoch: int | None = None
    refusal: str = ""
    notes: bool = False

    @property
    def text(self) -> str:
        """The log."""
        return "".join(f"{line}\n" for line in self.lines)


def imagenet() -> Family:
    """PyTorch's ImageNet example: pairs in brackets, a test after each epoch."""

    def lines() -> Iterator[str]:
        for epoch in range(4):
            for i in range(0, 40, 10):
                loss = curve(epoch * 4 + i / 10)
                yield f"Epoch: [{epoch}][ {i:2d}/40]\tTime  0.1 ( 0.1)\tLoss {loss:.4e} (2.0e+00)\tAcc@1  10.00 ( 12.00)"
            for i in range(0, 25, 10):
                yield f"Test: [ {i:2d}/25]\tTime  0.1 ( 0.1)\tLoss {curve(epoch * 4) + 1:.4e} (2.0e+00)\tAcc@1  9.00 (  9.0)"
            yield " *   Acc@1 52.000 Acc@5 80.000"

    return Family((*lines(),), 16, (0, 150), "loss", {"test loss": 4}, per_epoch=40)


def swin() -> Family:
    """Swin Transformer: epoch and step as two pairs, behind a logger's prefix."""
    prefix = "[2022-03-14 09:05:16 swin_tiny] (main.py 226): INFO"
    lines = [
        f"{prefix} Train: [{epoch}/300][{i}/1251]\teta 0:10:52 lr 0.000710\ttime 0.6408 (0.6516)\t"
        f"loss {curve(epoch * 4 + i / 400):.4f} (6.3074)\tgrad_norm 6.5613 (10.6225)\tmem 14764MB"
        for epoch in range(3)
        for i in range(0, 1251, 250)
    ]
    lines += [
        f"{prefix} Test: [{i}/98]\tTime 0.5 (0.6)\tLoss 0.9 (0.9)\tAcc@1 80.0 (80.0)\tMem 14764MB" for i in (0, 10)
    ]
    return Family((*lines,), 18, (0, 3752), "loss", {"test loss": 1}, per_epoch=1251)


def timm() -> Family:
    """timm: the epoch behind "Train:", its steps as a pair with a share."""
    lines = [
        f"Train: {epoch} [{i:4d}/1251 ({100 * i // 1250:3d}%)]  Loss: {curve(epoch * 4 + i / 400):#.4g} (6.95)  "
        f"Time: 0.512s, 2000.00/s  (0.6s, 90.00/s)  LR: 1.000e-06  Data: 0.010 (0.2)"
        for epoch in range(3)
        for i in range(0, 1251, 250)
    ]
    lines += [f"Test: [{i:4d}/48]  Time: 0.2 (0.2)  Loss:  0.9 (0.9)  Acc@1:  80.0 ( 80.0)" for i in (0, 48)]
    return Family((*lines,), 18, (0, 3752), "loss", {"test loss": 1}, per_epoch=1251)


def deit() -> Family:
    """DeiT, DETR, MAE, torchvision: the same MetricLogger, with a summary after each test."""

    def lines() -> Iterator[str]:
        for epoch in range(3):
            for i in range(0, 1251, 250):
                loss = curve(epoch * 4 + i / 400)
                yield f"Epoch: [{epoch}]  [{i:4d}/1251]  eta: 0:10:00  lr: 0.000001  loss: {loss:.4f} (6.9)  time: 0.5"
            yield f"Epoch: [{epoch}] Total time: 0:10:00 (0.5 s / it)"
            yield f"Test:  [  0/261]  eta: 0:02:00  loss: {curve(epoch * 4) + 1:.4f} (0.95)  acc1: 75.0 (76.0)  time: 0.3"

    return Family((*lines(),), 18, (0, 3752), "loss", {"test loss": 3, "test acc1": 3}, per_epoch=1251)


def deit_jsonl() -> Family:
    """DeiT's log.txt: JSON lines, one an epoch."""
    lines = [
        f'{{"train_lr": 1e-06, "train_loss": {curve(e)}, "test_loss": {curve(e) + 1}, "epoch": {e}}}' for e in range(20)
    ]
    return Family((*lines,), 20, (0, 19), "train_loss", {"test_loss": 20}, "epoch value")


def mmdetection() -> Family:
    """mmdetection 2: `Epoch [1][50/500]` behind a logger's prefix; its validation tells no loss."""

    def lines() -> Iterator[str]:
        for epoch in range(1, 4):
            for i in range(50, 501, 50):
                head = f"2022-01-01 10:00:00,000 - mmdet - INFO - Epoch [{epoch}][{i}/500]\tlr: 1.000e-03, eta: 1:00:00"
                yield f"{head}, time: 0.500, memory: 3000, loss_cls: 0.3000, loss: {curve(epoch * 4 + i / 200):.4f}"
            yield f"2022-01-01 10:00:00,000 - mmdet - INFO - Epoch(val) [{epoch}][625]\tbbox_mAP: 0.1, bbox_mAP_50: 0.2"

    return Family((*lines(),), 30, (50, 1500), "loss", per_epoch=500)


def mmengine() -> Family:
    """mmengine: the split in brackets behind the clock."""

    def lines() -> Iterator[str]:
        head = "2023/01/01 10:00:00 - mmengine - INFO -"
        for epoch in range(1, 4):
            for i in range(50, 501, 50):
                loss = curve(epoch * 4 + i / 200)
                yield f"{head} Epoch(train)  [{epoch}][{i:3d}/500]  lr: 1.0e-02  eta: 1:00:00  time: 0.5  loss: {loss:.4f}"
            yield f"{head} Epoch(val)  [{epoch}][100/100]    coco/bbox_mAP: 0.1  data_time: 0.1  time: 0.2"

    return Family((*lines(),), 30, (50, 1500), "loss", per_epoch=500)


def detectron2() -> Family:
    """detectron2: the total loss among its parts."""
    lines = [
        f"[10/01 10:00:00 d2.utils.events]:  eta: 1:00:00  iter: {i}  total_loss: {curve(i / 100):.3f}  loss_cls: 0.5  "
        "loss_box_reg: 0.2  time: 0.5  data_time: 0.01  lr: 0.0002  max_mem: 3000M"
        for i in range(19, 1000, 20)
    ]
    return Family((*lines,), 50, (19, 999), "total_loss")


def yolo() -> Family:
    """Ultralytics' YOLO: a header and a line of numbers an epoch, three losses."""

    def lines() -> Iterator[str]:
        for epoch in range(1, 21):
            yield ""
            yield "      Epoch    GPU_mem   box_loss   cls_loss   dfl_loss  Instances       Size"
            bar = "640: 100%|██████████| 8/8 [00:02<00:00,  3.5it/s]"
            yield f"      {epoch}/20      2.4G      {curve(epoch):.3f}      3.123      1.234        20        {bar}"
            yield "                 Class     Images  Instances      Box(P          R      mAP50  mAP50-95): 100%|███| 4/4"
            yield "                   all        128        929      0.64      0.537      0.605      0.446"

    return Family((*lines(),), 20, (1, 20), "box_loss", {}, "epoch value", refusal="3 series could be meant")


def yolo_csv() -> Family:
    """YOLO's results.csv: padded names, three losses."""
    head = "                  epoch,         train/box_loss,         train/cls_loss,           val/box_loss"
    lines = [head, *(f"{e:23d},{curve(e):23.5f},{1.5:23.5f},{curve(e) + 1:23.5f}" for e in range(20))]
    evals = {"val/box_loss": 20}
    return Family((*lines,), 20, (0, 19), "train/box_loss", evals, "epoch value", refusal="2 series could be meant")


def megatron() -> Family:
    """Megatron-LM: bars between the numbers; validation in lines of its own."""

    def lines() -> Iterator[str]:
        for i in range(100, 3001, 100):
            loss = curve(i / 100)
            yield (
                f" [2023-01-01 10:00:00] iteration {i:8d}/  500000 | consumed samples: {i * 16:12d} | elapsed time per "
                f"iteration (ms): 500.1 | learning rate: 1.500E-04 | global batch size:    16 | lm loss: {loss:.6E} | "
                "loss scale: 1.0 | grad norm: 1.500 | number of skipped iterations:   0 | number of nan iterations:   0 |"
            )
            if i % 1000 == 0:
                yield "-" * 90
                yield f" validation loss at iteration {i} | lm loss value: {loss + 1:.6E} | lm loss PPL: 1.0E+01 | "
                yield "-" * 90

    evals = {"validation lm loss value": 3, "validation lm loss PPL": 3}
    return Family((*lines(),), 30, (100, 3000), "lm loss", evals)


def deepspeed() -> Family:
    """DeepSpeed's pipeline engine: the step twice, once without a loss."""

    def lines() -> Iterator[str]:
        for step in range(10, 401, 10):
            head = "[2023-01-01 10:00:00,123] [INFO] [logging.py:96:log_dist] [Rank 0]"
            yield f"{head} step={step}, skipped=0, lr=[0.001], mom=[(0.9, 0.999)]"
            yield f"steps: {step} loss: {curve(step / 10):.4f} iter time (s): 0.567 samples/sec: 28.2"

    return Family((*lines(),), 40, (10, 400), "loss")


def torchtitan() -> Family:
    """torchtitan: colours, no blanks to trust."""
    lines = [
        f"[rank0]:2024-10-01 10:00:00,123 - root - INFO - \x1b[31mstep: {s:2d}  \x1b[32mloss: {curve(s / 10):7.4f}  "
        "\x1b[33mmemory: 21.13GiB(22.24%)  \x1b[34mtps: 7,500  \x1b[36mtflops: 150.2  \x1b[35mmfu: 40.01%\x1b[39m"
        for s in range(10, 401, 10)
    ]
    return Family((*lines,), 40, (10, 400), "loss")


def fairseq() -> Family:
    """fairseq: training within an epoch, the epoch's summary, and a validation, all called loss."""

    def lines() -> Iterator[str]:
        for epoch in (1, 2):
            for i in range(100, 501, 100):
                n = (epoch - 1) * 500 + i
                head = f"2025-01-01 10:00:00 | INFO | train_inner | epoch {epoch:03d}:    {i} / 500"
                yield f"{head} loss={curve(n / 100):.3f}, ppl=12.1, wps=1000, num_updates={n}, lr=1e-05"
            tail = f"num_updates {epoch * 500} | best_loss 3.2"
            yield f"2025-01-01 10:00:00 | INFO | valid | epoch {epoch:03d} | valid on 'valid' subset | loss 3.369 | {tail}"
            yield f"2025-01-01 10:00:00 | INFO | train | epoch {epoch:03d} | loss 1.9 | ppl 6.1 | num_updates {epoch * 500}"

    evals = {"valid loss": 2, "valid best_loss": 2}
    return Family((*lines(),), 10, (100, 1000), "train_inner loss", evals, "step value, one every 100")


def opennmt() -> Family:
    """OpenNMT-py: the objective is called xent, and stands beside a perplexity."""

    def lines() -> Iterator[str]:
        for s in range(50, 1501, 50):
            yield (
                f"[2020-01-01 10:00:00,123 INFO] Step {s}/10000; acc:  20.50; ppl: {math.exp(curve(s / 50)):5.2f}; xent: "
                f"{curve(s / 50):.2f}; lr: 1.00000; 3000/3200 tok/s;      {s // 10} sec"
            )
            if s % 500 == 0:
                yield "[2020-01-01 10:00:00,123 INFO] Validation perplexity: 12.3"
                yield "[2020-01-01 10:00:00,123 INFO] Validation accuracy: 40.1"

    return Family((*lines(),), 30, (50, 1500), "xent", {"Validation perplexity": 3})


def marian() -> Family:
    """Marian: a Cost, numbers with commas between the thousands, validation in lines of its own."""

    def lines() -> Iterator[str]:
        for s in range(1000, 20001, 1000):
            head = (
                f"[2020-01-01 10:00:00] Ep. 1 : Up. {s} : Sen. {s * 64:,} : Cost {curve(s / 1000):.8f} * {s * 1000:,}"
            )
            yield f"{head} @ 2,000 after {s * 2000:,} : Time 100.00s : 12345.67 words/s : gNorm 1.2345"
            if s % 5000 == 0:
                yield f"[2020-01-01 10:00:00] [valid] Ep. 1 : Up. {s} : cross-entropy : 45.67 : new best"

    return Family((*lines(),), 20, (1000, 20000), "Cost", {"valid cross-entropy": 4})


def nnunet() -> Family:
    """nnU-Net: a heading behind a time stamp, losses below it."""

    def lines() -> Iterator[str]:
        for epoch in range(13):
            yield f"2025-02-25 04:{epoch:02d}:09.2: Epoch {epoch} "
            yield f"2025-02-25 04:{epoch:02d}:09.2: Current learning rate: 0.01 "
            yield f"2025-02-25 04:{epoch:02d}:50.4: train_loss {curve(epoch):.4f} "
            yield f"2025-02-25 04:{epoch:02d}:50.5: val_loss {curve(epoch) + 1:.4f} "
            yield f"2025-02-25 04:{epoch:02d}:50.5: Pseudo dice [np.float32(0.8), np.float32(0.7)] "
            yield f"2025-02-25 04:{epoch:02d}:50.6: Epoch time: 41.3 s "

    return Family((*lines(),), 13, (0, 12), "train_loss", {"val_loss": 13}, "epoch value")


def composer() -> Family:
    """MosaicML's Composer: the clock in a line above the values."""

    def lines() -> Iterator[str]:
        for batch in range(1, 41):
            yield f"[epoch=1][batch={batch}/1000]:"
            yield "\t Train time/epoch: 0"
            yield f"\t Train trainer/global_step: {batch - 1}"
            yield f"\t Train loss/train/total: {curve(batch):.4f}"
            yield "\t Train throughput/samples_per_sec: 3.2217"
            if batch % 10 == 0:
                yield "[Eval batch=10/10] Eval on eval data:"
                yield "\t Eval metrics/eval/CrossEntropy: 2.5000"

    return Family(
        (*lines(),), 40, (1, 40), "Train loss/train/total", {"Eval metrics/eval/CrossEntropy": 4}, "step value"
    )


def coqui() -> Family:
    """Coqui TTS: the global step in a line above the values, evaluations under a heading."""

    def lines() -> Iterator[str]:
        for epoch in range(2):
            yield f" > EPOCH: {epoch}/1000"
            yield " > TRAINING (2022-01-26 12:44:06) "
            for i in range(25, 501, 25):
                yield f"   --> TIME: 2022-01-26 12:44:47 -- STEP: {i}/500 -- GLOBAL_STEP: {epoch * 500 + i}"
                yield f"     | > loss: {curve(epoch * 4 + i / 100):.5f}  (2.50000)"
                yield "     | > loss_disc: 0.50000  (0.50000)"
                yield "     | > current_lr: 0.00020 "
            yield " > EVALUATION "
            yield "  --> EVAL PERFORMANCE"
            yield "     | > avg_loss: 1.05932 (-0.00094)"

    return Family((*lines(),), 40, (25, 1000), "loss", {"eval avg_loss": 2})


def lightgbm() -> Family:
    """LightGBM: a name with an apostrophe that ends in a digit; the round in brackets."""
    lines = ["[LightGBM] [Info] Total Bins 25500", "[LightGBM] [Info] Start training from score 0.000000"]
    lines += [f"[{i}]\ttraining's l2: {curve(i):.6f}\tvalid_1's l2: {curve(i) + 1:.6f}" for i in range(1, 41)]
    return Family((*lines,), 40, (1, 40), "training's l2", {"valid_1's l2": 40}, "one value")


def xgboost() -> Family:
    """XGBoost: the round in brackets, names with a dash."""
    lines = [f"[{i}]\ttrain-rmse:{curve(i):.5f}\teval-rmse:{curve(i) + 1:.5f}" for i in range(40)]
    return Family((*lines,), 40, (0, 39), "train-rmse", {"eval-rmse": 40}, "one value")


def catboost() -> Family:
    """CatBoost: the round before a colon; the loss is called learn."""
    lines = [
        f"{i}:\tlearn: {curve(i):.7f}\ttest: {curve(i) + 1:.7f}\tbest: {curve(i) + 1:.7f} ({i})\ttotal: 58.5ms\tremaining: 9s"
        for i in range(40)
    ]
    return Family(
        ("Learning rate set to 0.1", *lines, "", "bestTest = 0.5"), 40, (0, 39), "learn", {"test": 40}, "one value"
    )


def stable_baselines() -> Family:
    """Stable-Baselines3: tables of name and value between rules."""

    def lines() -> Iterator[str]:
        for i in range(2, 22):
            yield "-" * 42
            yield "| rollout/                |              |"
            yield "|    ep_rew_mean          | 22.2         |"
            yield "| time/                   |              |"
            yield f"|    iterations           | {i}            |"
            yield f"|    total_timesteps      | {2048 * i}         |"
            yield "| train/                  |              |"
            yield f"|    loss                 | {curve(i):.3f}        |"
            yield f"|    n_updates            | {10 * (i - 1)}           |"
            yield "|    policy_gradient_loss | -0.0175      |"
            yield "|    value_loss           | 5.5          |"
            yield "-" * 42

    return Family((*lines(),), 20, (4096, 43008), "train/loss")


def ml_agents() -> Family:
    """Unity's ML-Agents: a reward and no loss, which is never put in the place of one."""
    lines = [
        f"[INFO] 3DBall. Step: {s}. Time Elapsed: {s / 100:.3f} s. Mean Reward: {s / 1e4:.3f}. Std of Reward: 0.700. Training."
        for s in range(12000, 240001, 12000)
    ]
    refusal = "no line speaks of a loss; lines tell:"
    return Family((*lines,), 20, (12000, 240000), "Mean Reward", {}, "reward", refusal=refusal)


def keras() -> Family:
    """Keras' progress bars: drawn again and again, and the last of each epoch tells."""

    def lines() -> Iterator[str]:
        for epoch in range(1, 11):
            yield f"Epoch {epoch}/10"
            for i in (1, 50):
                yield f"{i:3d}/100 [====>.........] - ETA: 1s - loss: {curve(epoch) + 1:.4f} - accuracy: 0.5000"
            end = (
                f"loss: {curve(epoch):.4f} - accuracy: 0.6000 - val_loss: {curve(epoch) + 1:.4f} - val_accuracy: 0.5500"
            )
            yield f"100/100 [==============================] - 1s 5ms/step - {end}"

    evals = {"val_loss": 10, "val_accuracy": 10}
    return Family((*lines(),), 10, (1, 10), "loss", evals, "epoch value")


def darknet() -> Family:
    """Darknet: numbers stand before their names, with commas between."""

    def lines() -> Iterator[str]:
        for i in range(1, 61):
            yield ""
            yield " (next mAP calculation at 1000 iterations) "
            loss = f"{curve(i / 10) * 10:.6f}"
            yield f" {i}: {loss}, {loss} avg loss, 0.000000 rate, 3.350000 seconds, {i * 64} images, 25.2 hours left"
            yield "Loaded: 0.000034 seconds"

    return Family((*lines(),), 60, (1, 60), "avg loss", {}, "step value")


def espnet() -> Family:
    """ESPnet: clocks glued to their words, a range of batches, no length of the epoch."""
    lines = [
        f"[node01] 2023-01-01 10:00:00,123 (trainer:732) INFO: {e}epoch:train:{i - 49}-{i}batch: iter_time=1.2e-04, "
        f"loss_ctc=50.0, loss={curve(e * 4 + i / 100):.3f}, optim0_lr0=1.0e-05"
        for e in range(1, 5)
        for i in range(50, 501, 50)
    ]
    return Family((*lines,), 40, (50, 2000), "loss", per_epoch=500, notes=True)


def deep_text_recognition() -> Family:
    """deep-text-recognition-benchmark: the step of the run as a pair at the beginning of the line."""

    def lines() -> Iterator[str]:
        for s in range(10000, 200001, 10000):
            yield f"[{s}/300000] Train loss: {curve(s / 1e4):.5f}, Valid loss: {curve(s / 1e4) + 1:.5f}, Elapsed_time: 100.5"
            yield "Current_accuracy : 50.000, Current_norm_ED  : 0.70"

    return Family((*lines(),), 20, (10000, 200000), "Train loss", {"Valid loss": 20})


def tqdm() -> Family:
    """tqdm around a loader: the bar of each epoch, drawn again and again on one line."""
    bars = [
        f"Epoch {e}: {i // 10:3d}%|████▌     | {i}/1000 [00:10<00:12, 44.00it/s, loss={curve(e * 4 + i / 300):.3f}]"
        for e in range(3)
        for i in range(100, 1001, 100)
    ]
    return Family(("\r".join(bars),), 30, (100, 3000), "loss", per_epoch=1000)


def mnist() -> Family:
    """PyTorch's MNIST example: the pair counts samples, and the log says so in no word."""

    def lines() -> Iterator[str]:
        for e in range(1, 4):
            for i in range(0, 938, 100):
                loss = curve(e * 4 + i / 300)
                yield f"Train Epoch: {e} [{i * 64}/60000 ({100 * i / 938:.0f}%)]\tLoss: {loss:.6f}"
            yield ""
            yield "Test set: Average loss: 0.0480, Accuracy: 9840/10000 (98%)"

    evals = {"test Average loss": 3, "test Accuracy": 3}
    return Family((*lines(),), 30, (0, 177600), "loss", evals, per_epoch=60000, notes=True)


def tutorial() -> Family:
    """PyTorch's CIFAR tutorial: epoch and batch in one pair of brackets."""
    lines = [f"[{e}, {i:5d}] loss: {curve(e * 4 + i / 3000):.3f}" for e in (1, 2, 3) for i in range(2000, 12001, 2000)]
    return Family((*lines, "Finished Training"), 18, (2000, 36000), "loss", per_epoch=12000, notes=True)


def transfer() -> Family:
    """PyTorch's transfer learning tutorial: a heading an epoch, a line a phase."""

    def lines() -> Iterator[str]:
        for e in range(25):
            yield f"Epoch {e}/24"
            yield "----------"
            yield f"train Loss: {curve(e):.4f} Acc: 0.7008"
            yield f"val Loss: {curve(e) + 1:.4f} Acc: 0.6500"
            yield ""

    evals = {"val Loss": 25, "val Acc": 25}
    return Family((*lines(), "Best val Acc: 0.954248"), 25, (0, 24), "train Loss", evals, "epoch value")


def flair() -> Family:
    """Flair: a stated length that is no multiple of the logging interval; DEV in a line of its own."""

    def lines() -> Iterator[str]:
        for e in range(1, 6):
            for i in range(14, 149, 14):
                yield f"2023-01-01 10:00:00,123 epoch {e} - iter {i}/149 - loss {curve(e * 3 + i / 50):.8f} - lr: 0.100000"
            yield f"2023-01-01 10:00:00,123 DEV : loss {curve(e * 3) + 1:.6f} - f1-score (micro avg)  0.9"

    evals = {"dev loss": 5, "dev f1-score (micro avg)": 5}
    return Family((*lines(),), 50, (14, 736), "loss", evals, per_epoch=149)


def fastai() -> Family:
    """fastai: a header, and a line an epoch under it."""
    rows = [f"{e}         {curve(e):.6f}    {curve(e) + 1:.6f}    0.900000  00:12     " for e in range(9)]
    head = "epoch     train_loss  valid_loss  accuracy  time    "
    return Family(("Downloading weights", head, *rows), 9, (0, 8), "train_loss", {"valid_loss": 9}, "epoch value")


def spacy() -> Family:
    """spaCy: a header with two losses, a rule, and rows with epoch and step."""
    head = [
        "E    #       LOSS TOK2VEC  LOSS NER  ENTS_F  SCORE ",
        "---  ------  ------------  --------  ------  ------",
    ]
    rows = [f"{e:3d}  {e * 200:6d}  {curve(e):12.2f}  {curve(e) * 9:8.2f}  {e:6.2f}    0.01" for e in range(20)]
    refusal = "2 series could be meant"
    return Family(("ℹ Using CPU", *head, *rows), 20, (0, 3800), "LOSS NER", refusal=refusal)


def keras_loop() -> Family:
    """The loop of Keras' guide: a heading an epoch, the loss before its step."""

    def lines() -> Iterator[str]:
        for epoch in range(2):
            yield ""
            yield f"Start of epoch {epoch}"
            for i in range(0, 782, 200):
                yield f"Training loss (for one batch) at step {i}: {curve(epoch * 4 + i / 300):.4f}"
                yield f"Seen so far: {(i + 1) * 64} samples"

    return Family((*lines(),), 8, (0, 1400), "Training loss", per_epoch=800, notes=True)


FAMILIES: dict[str, Callable[[], Family]] = {
    "PyTorch ImageNet": imagenet,
    "Swin": swin,
    "timm": timm,
    "DeiT, DETR, MAE": deit,
    "DeiT's log.txt": deit_jsonl,
    "mmdetection": mmdetection,
    "mmengine": mmengine,
    "detectron2": detectron2,
    "YOLO": yolo,
    "YOLO's results.csv": yolo_csv,
    "Megatron-LM": megatron,
    "DeepSpeed": deepspeed,
    "torchtitan": torchtitan,
    "fairseq": fairseq,
    "OpenNMT": opennmt,
    "Marian": marian,
    "nnU-Net": nnunet,
    "Composer": composer,
    "Coqui": coqui,
    "LightGBM": lightgbm,
    "XGBoost": xgboost,
    "CatBoost": catboost,
    "Stable-Baselines3": stable_baselines,
    "ML-Agents": ml_agents,
    "Keras": keras,
    "Keras' own loop": keras_loop,
    "Darknet": darknet,
    "ESPnet": espnet,
    "deep-text-recognition": deep_text_recognition,
    "tqdm": tqdm,
    "PyTorch MNIST": mnist,
    "PyTorch CIFAR tutorial": tutorial,
    "PyTorch transfer tutorial": transfer,
    "Flair": flair,
    "fastai": fastai,
    "spaCy": spacy,
}


def row_of(name: str) -> str:
    """The row of a family in docs/logs.md."""
    family = FAMILIES[name]()
    read = f"asked; `--column '{family.series}'`" if family.refusal else f"{family.points}, `{family.series}`"
    meaning = family.meaning.removesuffix(", one every") + (
        " (every so many steps)" if "every" in family.meaning else ""
    )
    return f"| {name} | {family.points} | {read} | {meaning} |"
