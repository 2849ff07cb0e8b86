"""Training γ and β of BatchNorm and nothing else (Frankle, Schwab & Morcos 2020)."""
