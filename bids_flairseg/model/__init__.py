"""The network, its weights and its predictions; arrays and Keras, no BIDS."""
