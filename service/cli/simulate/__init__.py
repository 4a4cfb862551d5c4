"""`graylag simulate`: a virtual fleet, against a running server or inside this process in simulated time."""
