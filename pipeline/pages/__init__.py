"""The pages of the report: evidence read from a run's files, figures drawn from it, templates that show both."""
