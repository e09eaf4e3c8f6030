"""From equations to loops: phases, contractions recognised as matrix products, loop nests, the schedule, and the
memory plan that gives every buffer its place in one arena. Cuts depend on shapes and CPU features alone.
"""
