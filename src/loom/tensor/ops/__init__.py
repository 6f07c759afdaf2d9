"""Operations of tensors: shape and dtype rules, how they are recorded, their derivatives. Layer: tensor."""
