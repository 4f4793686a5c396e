"""What every experiment has.  A config calls `base()`, then fills in data, model, task and optimizer."""

from ml_collections import ConfigDict


def base() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.steps = 1000
    config.batch_size = 64  # over all hosts and devices
    config.accumulate = 1  # slices of the batch, one after the other, for one update
    config.precision = "float32"  # or bfloat16, or float64 under JAX_ENABLE_X64=1: of networks, not of parameters
    config.cpu_devices = 1  # devices that a CPU poses as; of GPUs and TPUs all are used
    config.mesh = ConfigDict({"data": -1, "fsdp": 1, "expert": 1, "context": 1, "tensor": 1})  # -1: the rest
    config.parallel = "jit"  # or "pmap": every device runs the step on its share of the batch; only along `data`
    config.attention = "auto"  # "blocks" on CPUs, "cudnn" on GPUs, "splash" on TPUs, where they can; or "xla"
    config.loss_slices = 1  # of a text, one after the other: the logits of one slice stand in memory
    config.nonfinite = "stop"  # or "skip": what a NaN in loss or gradient does
    config.ema = 0.0  # decay of the average of parameters that evaluation uses, less in the first steps; 0 is off
    config.log_every = 50
    config.writers = ("csv", "tensorboard")  # beside metrics.jsonl; "wandb" where it is installed

    config.loader = ConfigDict()  # batches made ahead of the step; no value changes a batch
    config.loader.prefetch = 0  # this many, on a thread
    config.loader.workers = 0  # in so many processes

    config.data = ConfigDict()
    config.augment = ConfigDict()  # what changes training images: {name: options}, names of train/augment.py
    config.model = ConfigDict()
    config.task = ConfigDict()
    config.init = ConfigDict()  # weights from a run or a public checkpoint, before step 0: {"from": …} (train/init.py)
    config.optim = ConfigDict()
    config.schedule = ConfigDict({"name": "constant", "warmup": 0}, type_safe=False)  # steps, or a share of the run

    config.eval = ConfigDict()
    config.eval.every = -1  # steps; -1 is a tenth of the run, 0 only the end
    config.eval.batch_size = 256
    config.eval.records = 0  # how many held-out records, evenly spread over the split, to score; 0 is all
    config.eval.patience = 0  # evaluations without a better loss before the run stops; 0 is never
    config.eval.train_records = 0  # how many records, evenly spread over the training split, to score too at the end

    config.checkpoint = ConfigDict()
    config.checkpoint.every = 1000  # steps; the end is always saved
    config.checkpoint.keep = 1
    config.checkpoint.best = False  # also keep the one with the lowest held-out loss
    return config
