"""`graylag demo`: the main job, end to end, on real servers, with a model that is really trained."""
