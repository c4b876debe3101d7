"""repartition: a data set dealt into folders, as a plan that can be undone."""
