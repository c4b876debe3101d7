"""repartition: distribute a data set over folders, by a plan that can be undone."""
