"""Mixture of experts, step by step; each step is a pure function, so others can go between them.

    routing → permutation → computation → combination

Expert parallelism exchanges rows after the permutation and before the combination.
"""
