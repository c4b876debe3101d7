"""Low-rank adapters (LoRA, arXiv:2106.09685): W + scale · B · A, where A and B are trained.

    targets → table → layers        which matrices, which slices, and the computation
    adapter_config, adapter_files   the files of `peft`, which vLLM reads too
    merge                           the model with its adapter added

The code of models does not depend on this: adapters are put into a finished stage.
"""
