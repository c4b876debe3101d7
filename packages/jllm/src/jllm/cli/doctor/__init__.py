"""`jllm doctor`: show what is installed, missing or broken, and how to mend it.

Each library is imported in a separate process, because an installed one may still fail to load.
"""
