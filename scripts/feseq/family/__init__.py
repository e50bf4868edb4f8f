"""What every family of models has: what rules ask it, its trained model, a training's job."""
