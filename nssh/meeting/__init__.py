"""What a start does about live sessions of the same target: find them, ask whether they live, join or replace them."""
