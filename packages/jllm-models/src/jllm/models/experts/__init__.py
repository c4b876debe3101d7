"""Mixture of experts, step by step: each a pure function, so that others can go between them.

    routing → permutation → computation → combination

Expert parallelism exchanges rows after the permutation and before the combination.
"""
