"""Reading and distributing the rows of data sets to the ranks that need them, a step ahead."""
