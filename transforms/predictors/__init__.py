"""Models behind one interface, `base.Predictor`; nothing here imports Beam."""
