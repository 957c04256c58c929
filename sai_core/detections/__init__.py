"""What a network saw, as data: raw detections and their store, the detection table, boxes, a teacher's files.

``raw`` is written by the inference and read by everything after it; ``table`` is what the steps of the postprocessing
hand on. Nothing is imported here.
"""
