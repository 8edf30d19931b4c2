"""MMPareto: gradients of the fused and the unimodal loss, combined without conflict."""
