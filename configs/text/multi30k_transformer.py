"""The Transformer of 2017 translates captions of pictures from English to German: 29,000 pairs of sentences.

python -m train --config configs/text/multi30k_transformer.py --config.data.path=multi30k --workdir runs/multi30k
python -m train sample --workdir runs/multi30k --prompt "Two dogs play in the snow."
python -m scripts.score.bleu --workdir runs/multi30k      # by sacrebleu: uv run --with sacrebleu …

BLEU of the 1,000 lines of test_2016_flickr is 32.0 (nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0; each
token the likeliest, no beam); that of the English as it is 0.5.

System      Transformer that translates, 2017
Parameters  1,441,696
Data        Multi30k
Get         the files {train,val,test_2016_flickr}.{en,de}.gz of data/task1/raw in github.com/multi30k/dataset
Baseline    0.3912 by the 3 tokens before, the English unread
Measured    accuracy 0.6461, 586 s (41c3180)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 4000
    config.batch_size = 32
    config.log_every = 200
    config.data.update(name="translation:pairs", path="multi30k", source="en", target="de", pieces=4000, length=24)
    config.model.update(name="transformer:Transformer", vocab=4000, layers=2, heads=4, width=128, inner=512)
    config.model.update(context=64)
    config.task.update(name="translate:translate", label_smoothing=0.1)
    config.optim.update(name="adam", learning_rate=2e-3, b2=0.98, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.1)
    config.eval.every = 1000
    return config
