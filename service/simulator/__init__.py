"""`graylag simulate`: a fleet of virtual devices that poll and report."""
