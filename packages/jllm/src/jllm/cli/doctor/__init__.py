"""`jllm doctor`: what is here, what is missing, what is broken, and how to mend it.

Libraries are imported, each in a process of its own: one that is there may still not load.
"""
