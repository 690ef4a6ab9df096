"""What a step costs: parameters, memory copies, FLOPs, memory, time, communication."""
