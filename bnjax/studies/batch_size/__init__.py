"""Normalisers against the batch size (Ba, Kiros & Hinton 2016; Wu & He 2018)."""
