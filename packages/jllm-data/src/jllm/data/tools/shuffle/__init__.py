"""shuffle_datasets: put all rows of one or several data sets into a seeded order."""
