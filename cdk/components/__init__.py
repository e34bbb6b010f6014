"""What stacks are composed of. Each owns its resources, and grants what it is asked to grant."""
