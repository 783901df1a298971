"""What a cell must cost, in closed form and without torch: parameters, FLOPs, bytes, and what devices can do."""
