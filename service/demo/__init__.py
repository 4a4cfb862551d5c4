"""`graylag demo`: two versions of a model, a fleet of devices and a staged rollout, on real servers."""
