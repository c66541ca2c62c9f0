"""Where and when jobs run; what they compute is none of an engine's business."""
