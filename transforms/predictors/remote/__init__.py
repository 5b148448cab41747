"""A model that is served elsewhere, as a predictor."""
