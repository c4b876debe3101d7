"""shuffle_datasets: all rows of one or several data sets in a seeded order."""
