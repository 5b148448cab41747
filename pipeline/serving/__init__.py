"""A server of one model, on KServe's; no module here is imported before it is needed."""
