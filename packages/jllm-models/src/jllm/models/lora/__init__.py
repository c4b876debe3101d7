"""Low-rank adapters (LoRA, arXiv:2106.09685): W + scale · B · A, of which A and B are trained.

    targets → table → layers        which matrices, as which slices, computed how
    adapter_config, adapter_files   the files of `peft`, which vLLM reads too
    merge                           the model with its adapter added

The mathematics of models knows nothing of this: adapters are put into a finished stage.
"""
