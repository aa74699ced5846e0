"""What runs during a request: the Open Inference Protocol, the model store and ONNX Runtime, without any transport."""
