"""What do stock tools say of Longbow?"""
