"""Gates: bounds on rates and metrics, and the evaluation of a stage against them."""
