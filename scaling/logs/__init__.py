"""From the logs of runs, whoever wrote them, to columns that laws are fitted to."""
